((function_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function
  (#set! lead "export default"))

((generator_function_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function
  (#set! lead "export default"))

((class_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "export default decorator"))

((method_definition name: (_) @scope.name body: (_) @scope.body) @scope.function
  (#set! lead "decorator"))

; functions named by the variable that they are assigned to
((lexical_declaration . (variable_declarator name: (_) @scope.name value: (_ parameters: (_) body: (_) @scope.body)) .)
  @scope.function
  (#set! lead "export"))

((lexical_declaration . (variable_declarator name: (_) @scope.name value: (arrow_function body: (_) @scope.body)) .)
  @scope.function
  (#set! lead "export"))

(expression_statement (assignment_expression left: (_) @scope.name right: (_ parameters: (_) body: (_) @scope.body)))
  @scope.function

(pair key: (_) @scope.name value: (_ parameters: (_) body: (_) @scope.body)) @scope.function
