; A signature and its body are siblings: the scope is the body, and the signature its lead. Only definitions.scm finds the
; name, since a pattern of two siblings runs on the whole file.
((function_body (_) @scope.body) @scope.function
  (#set! lead "function_signature method_signature annotation"))

(class_definition name: (_) @scope.name body: (_) @scope.body) @scope.class
(mixin_declaration (identifier) @scope.name (class_body) @scope.body) @scope.class
(enum_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(extension_declaration name: (_)? @scope.name body: (_) @scope.body) @scope.class
(extension_type_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class

; tests: test('works', () { });
((expression_statement . (identifier) @_test (selector (argument_part (arguments
  . (argument (string_literal) @scope.name)
  (argument (function_expression body: (function_expression_body (block) @scope.body))))))) @scope.function
  (#one-of? @_test "test" "testWidgets"))

((expression_statement . (identifier) @_group (selector (argument_part (arguments
  . (argument (string_literal) @scope.name)
  (argument (function_expression body: (function_expression_body (block) @scope.body))))))) @scope.class
  (#one-of? @_group "group"))
