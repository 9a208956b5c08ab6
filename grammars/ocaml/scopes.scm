; inherits: ocaml_interface
((let_binding pattern: (value_name) @scope.name (parameter) body: (_) @scope.body) @scope.function
  (#set! lead "let rec and"))

((let_binding pattern: (value_name) @scope.name body: [(function_expression) (fun_expression)] @scope.body)
  @scope.function
  (#set! lead "let rec and"))

; an operator, and a test: let%expect_test "works" = ...
((let_binding pattern: (parenthesized_operator) @scope.name body: (_) @scope.body) @scope.function
  (#set! lead "let rec and"))

((let_binding pattern: (string (string_content) @scope.name) body: (_) @scope.body) @scope.function
  (#set! lead "let % attribute_id"))

; let () = ...
((let_binding pattern: (unit) @scope.name body: (_) @scope.body) @scope.function
  (#set! lead "let"))

(method_definition (method_name) @scope.name body: (_) @scope.body) @scope.function

((class_binding (class_name) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "class virtual and"))

((module_binding (module_name) @scope.name body: (_) @scope.body) @scope.module
  (#set! lead "module rec and"))
