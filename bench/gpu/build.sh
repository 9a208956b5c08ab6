#!/usr/bin/env bash
# Builds llama.cpp's libraries for an H100 or H200 on a machine without a GPU, with llama-bench and llama-server, and
# packs what such a machine needs: bench/gpu/build.sh [FOLDER], build/gpu by default. README.md says what comes out.
#
# Needs a C++ compiler, CMake, make and a package index; CUDA's compiler and libraries come as Python packages. A run
# that was stopped goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
TARGET_PYTHON=${TARGET_PYTHON:-3.12} # of the machine with the GPU
JOBS=${JOBS:-$(nproc)}
MOST_BYTES=45000000
folder=${1:-build/gpu}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
version=$(sed -n 's/.*"llama-cpp-python==\([0-9.]*\)".*/\1/p' pyproject.toml)

# CUDA 13.0, which PyTorch's packages of 2026 bring, too. nvcc looks for lib64, and linkers for names without a number.
toolkit=$folder/toolkit/nvidia/cu13
if [ ! -e "$folder/toolkit/.whole" ]; then
  "$PYTHON" -m pip install --quiet --no-deps --upgrade --target "$folder/toolkit" nvidia-cuda-nvcc==13.0.88 \
    nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 \
    nvidia-cublas==13.0.2.14
  ln -sfn lib "$toolkit/lib64"
  for library in cudart cublas cublasLt; do ln -sf "lib$library.so.13" "$toolkit/lib/lib$library.so"; done
  touch "$folder/toolkit/.whole"
fi

source=$folder/llama_cpp_python-$version
if [ ! -d "$source" ]; then
  "$PYTHON" -m pip download --quiet --no-deps --no-binary :all: --dest "$folder" "llama-cpp-python==$version"
  tar -xf "$source.tar.gz" -C "$folder"
fi

# 90-real: machine code for these GPUs and nothing else. Without VMM nothing links with the driver, which only a machine
# with a GPU has. Without OpenMP there is one library less to find.
cmake -S "$source/vendor/llama.cpp" -B "$folder/cmake" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON \
  -DCMAKE_CUDA_COMPILER="$toolkit/bin/nvcc" -DCUDAToolkit_ROOT="$toolkit" -DCMAKE_CUDA_ARCHITECTURES=90-real \
  -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DCMAKE_INSTALL_RPATH='$ORIGIN' \
  -DCMAKE_EXE_LINKER_FLAGS="-Wl,-rpath-link,$toolkit/lib" \
  -DGGML_CUDA=ON -DGGML_CUDA_NO_VMM=ON -DGGML_CUDA_NCCL=OFF -DGGML_CUDA_FA_QUANTS=f16-f16 \
  -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF \
  -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_MTMD=OFF \
  -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF
cmake --build "$folder/cmake" --parallel "$JOBS" --target llama ggml llama-bench llama-server

# cuBLAS (half a gigabyte) is not packed: PyTorch's packages and CUDA's own installation have it.
pack=$folder/pack
rm -rf "$pack"
mkdir -p "$pack/lib" "$pack/site"
cp -a "$folder"/cmake/bin/lib*.so* "$folder"/cmake/bin/llama-bench "$folder"/cmake/bin/llama-server "$pack/lib"
cp "$toolkit/lib/libcudart.so.13" "$pack/lib"
find "$pack/lib" -type f -exec strip --strip-unneeded {} +

# The program's own needs for the other machine's Python, in the versions that are installed here; numpy is there.
"$PYTHON" -m pip freeze --exclude-editable >"$folder/constraints.txt"
platforms=()
for glibc in 17 24 27 28 34; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done
"$PYTHON" -m pip install --quiet --no-deps --upgrade --target "$pack/site" --constraint "$folder/constraints.txt" \
  --only-binary :all: --implementation cp --python-version "$TARGET_PYTHON" "${platforms[@]}" \
  --platform manylinux2014_x86_64 attrs cattrs diskcache filelock google-re2 jinja2 lsprotocol markdown-it-py \
  markupsafe mdurl msgspec platformdirs pygls pygments rapidfuzz rich tokenizers tree-sitter tree-sitter-language-pack \
  tree-sitter-c-sharp tree-sitter-embedded-template tree-sitter-yaml typing-extensions
cp -r "$source/llama_cpp" "$pack/site"
find "$pack/site" -name '__pycache__' -prune -exec rm -r {} +
# Of 173 grammars those of the traces: a language without one falls back to lines.
find "$pack/site/tree_sitter_language_pack/bindings" -type f \
  ! -name 'rust.*' ! -name 'python.*' ! -name 'javascript.*' ! -name 'typescript.*' ! -name '__init__.py' -delete

for part in lib site; do
  XZ_OPT='-9e -T0' tar --owner=0 --group=0 --sort=name -cJf "$folder/$part.tar.xz" -C "$pack" "$part"
done
n_bytes=$(stat -c %s "$folder/lib.tar.xz")
echo "$folder: lib.tar.xz has $n_bytes bytes, site.tar.xz $(stat -c %s "$folder/site.tar.xz")"
[ "$n_bytes" -le "$MOST_BYTES" ] || { echo "lib.tar.xz is larger than $MOST_BYTES bytes" >&2; exit 1; }
