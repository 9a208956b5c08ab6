"""`llama_server.py MODEL PORT`: llama.cpp's real HTTP server on the loopback, from the wheel xllamacpp."""

import sys
import time

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path, params.port = sys.argv[1], int(sys.argv[2])
params.hostnames = ["127.0.0.1"]
params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 4096, 2, 1
params.endpoint_metrics = params.endpoint_slots = True
server = xllamacpp.Server(params)
while True:
    time.sleep(3600)
