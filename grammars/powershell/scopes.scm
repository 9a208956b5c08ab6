; the block's node does not contain its braces
(function_statement (function_name) @scope.name "{" @scope.body) @scope.function
(class_statement . (simple_name) @scope.name "{" @scope.body) @scope.class
(enum_statement . (simple_name) @scope.name "{" @scope.body) @scope.class
(class_method_definition (simple_name) @scope.name "{" @scope.body) @scope.function

; tests: It 'works' { }
((command
  command_name: (command_name) @_test
  command_elements: (command_elements
    (array_literal_expression (unary_expression (string_literal) @scope.name))
    (array_literal_expression (unary_expression (script_block_expression) @scope.body)))) @scope.function
  (#one-of? @_test "It" "it"))

((command
  command_name: (command_name) @_suite
  command_elements: (command_elements
    (array_literal_expression (unary_expression (string_literal) @scope.name))
    (array_literal_expression (unary_expression (script_block_expression) @scope.body)))) @scope.class
  (#one-of? @_suite "Describe" "describe" "Context" "context"))
