(binary_operator lhs: (_) @scope.name rhs: (function_definition body: (_) @scope.body)) @scope.function

; a function as a named argument, such as a method in a class
(argument name: (_) @scope.name value: (function_definition body: (_) @scope.body)) @scope.function

((binary_operator lhs: (_) @scope.name rhs: (call function: (_) @_class arguments: (_) @scope.body)) @scope.class
  (#one-of? @_class "R6Class" "R6::R6Class" "setRefClass"))

((call
  function: (identifier) @_method
  arguments: (arguments
    .
    (argument value: (string (string_content) @scope.name))
    (argument value: [
      (braced_expression) @scope.body
      (function_definition body: (_) @scope.body)
    ]))) @scope.function
  (#one-of? @_method "setMethod" "test_that" "it"))

((call
  function: (identifier) @_suite
  arguments: (arguments
    .
    (argument value: (string (string_content) @scope.name))
    (argument value: (braced_expression) @scope.body))) @scope.class
  (#one-of? @_suite "describe"))
