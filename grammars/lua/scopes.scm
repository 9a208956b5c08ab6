; an empty body has no node
(function_declaration name: (_) @scope.name body: (_)? @scope.body) @scope.function

((assignment_statement
  (variable_list . name: (_) @scope.name .)
  (expression_list . value: (function_definition body: (_)? @scope.body) .)) @scope.function
  (#set! lead "local"))

; a function in a table
(field name: [(identifier) @scope.name (string content: (_) @scope.name)]
  value: (function_definition body: (_)? @scope.body)) @scope.function

; tests: it("works", function() end)
((function_call
  name: (identifier) @_test
  arguments: (arguments . (string content: (_) @scope.name) (function_definition body: (_)? @scope.body)))
  @scope.function
  (#one-of? @_test "it"))

((function_call
  name: (identifier) @_suite
  arguments: (arguments . (string content: (_) @scope.name) (function_definition body: (_)? @scope.body)))
  @scope.class
  (#one-of? @_suite "describe" "context"))
