; a definition is a call of a macro, recognized by the macro's name
((call target: (identifier) @_def (arguments . (call target: (_) @scope.name)) (do_block) @scope.body) @scope.function
  (#one-of? @_def "def" "defp" "defmacro" "defmacrop"))

; without arguments
((call target: (identifier) @_def (arguments . (identifier) @scope.name) (do_block) @scope.body) @scope.function
  (#one-of? @_def "def" "defp" "defmacro" "defmacrop"))

; def f(x) when is_integer(x) do
((call
  target: (identifier) @_def
  (arguments . (binary_operator left: (call target: (_) @scope.name)))
  (do_block) @scope.body) @scope.function
  (#one-of? @_def "def" "defp" "defmacro" "defmacrop"))

; in one line: def f(x), do: x
((call
  target: (identifier) @_def
  (arguments . (call target: (_) @scope.name) (keywords (pair value: (_) @scope.body)))) @scope.function
  (#one-of? @_def "def" "defp" "defmacro" "defmacrop"))

((call
  target: (identifier) @_def
  (arguments . (identifier) @scope.name (keywords (pair value: (_) @scope.body)))) @scope.function
  (#one-of? @_def "def" "defp" "defmacro" "defmacrop"))

((call
  target: (identifier) @_def
  (arguments . (binary_operator left: (call target: (_) @scope.name)) (keywords (pair value: (_) @scope.body))))
  @scope.function
  (#one-of? @_def "def" "defp" "defmacro" "defmacrop"))

((call target: (identifier) @_test (arguments . (string (quoted_content) @scope.name)) (do_block) @scope.body)
  @scope.function
  (#one-of? @_test "test"))

((call target: (identifier) @_suite (arguments . (string (quoted_content) @scope.name)) (do_block) @scope.body)
  @scope.class
  (#one-of? @_suite "describe"))

((call target: (identifier) @_module (arguments . (alias) @scope.name) (do_block) @scope.body) @scope.module
  (#one-of? @_module "defmodule" "defprotocol" "defimpl"))
