; an empty body has no node
(function_definition (signature (call_expression . (_) @scope.name)) (block)? @scope.body) @scope.function
(function_definition
  (signature [
    (typed_expression . (call_expression . (_) @scope.name))
    (where_expression . (call_expression . (_) @scope.name))
    (where_expression . (typed_expression . (call_expression . (_) @scope.name)))
  ])
  (block)? @scope.body) @scope.function
(macro_definition (signature (call_expression . (_) @scope.name)) (block)? @scope.body) @scope.function

; f(x) = 1
(assignment . (call_expression . (_) @scope.name) (operator) . (_) @scope.body) @scope.function
(assignment . (typed_expression . (call_expression . (_) @scope.name)) (operator) . (_) @scope.body) @scope.function

(struct_definition (type_head (identifier) @scope.name) (block)? @scope.body) @scope.class
(struct_definition (type_head (_ . (identifier) @scope.name)) (block)? @scope.body) @scope.class
(struct_definition (type_head (_ . (_ . (identifier) @scope.name))) (block)? @scope.body) @scope.class

(module_definition name: (_) @scope.name (block)? @scope.body) @scope.module

((macrocall_expression
  (macro_identifier (identifier) @_test)
  (macro_argument_list (string_literal (content) @scope.name) (compound_statement (block)? @scope.body)))
  @scope.function
  (#one-of? @_test "testset"))
