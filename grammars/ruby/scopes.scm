; an empty body has no node
(method name: (_) @scope.name body: (_)? @scope.body) @scope.function
(singleton_method name: (_) @scope.name body: (_)? @scope.body) @scope.function
(class name: (_) @scope.name body: (_)? @scope.body) @scope.class
(singleton_class value: (_) @scope.name body: (_)? @scope.body) @scope.class
(module name: (_) @scope.name body: (_)? @scope.body) @scope.module

; Point = Struct.new(:x) do ... end
(assignment left: (constant) @scope.name right: (call block: (do_block body: (_)? @scope.body))) @scope.class

; a function named by its variable
(assignment left: (identifier) @scope.name right: (lambda body: (_ body: (_)? @scope.body))) @scope.function

; tests and tasks
((call
  method: (identifier) @_test
  arguments: (argument_list . [(string (string_content) @scope.name) (pair key: (_) @scope.name) (_) @scope.name])
  block: (do_block body: (_)? @scope.body)) @scope.function
  (#one-of? @_test "it" "test" "specify" "scenario" "task"))

((call
  method: (identifier) @_suite
  arguments: (argument_list . [(string (string_content) @scope.name) (_) @scope.name])
  block: (do_block body: (_)? @scope.body)) @scope.class
  (#one-of? @_suite "describe" "context" "feature" "shared_examples" "shared_context" "namespace"))
