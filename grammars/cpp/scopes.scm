; inherits: c
((function_definition declarator: (function_declarator declarator: (_) @scope.name) body: (_) @scope.body)
  @scope.function
  (#set! lead "template template_parameter_list requires_clause friend"))

((function_definition
  declarator: (_ declarator: (function_declarator declarator: (_) @scope.name))
  body: (_) @scope.body) @scope.function
  (#set! lead "template template_parameter_list requires_clause friend"))

; a function that returns a reference
((function_definition
  declarator: (reference_declarator (function_declarator declarator: (_) @scope.name))
  body: (_) @scope.body) @scope.function
  (#set! lead "template template_parameter_list requires_clause friend"))

; a conversion: operator bool()
(function_definition declarator: (operator_cast) @scope.name body: (_) @scope.body) @scope.function
(function_definition
  declarator: (qualified_identifier name: (operator_cast)) @scope.name
  body: (_) @scope.body) @scope.function

((class_specifier name: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "template template_parameter_list requires_clause"))

((struct_specifier name: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "template template_parameter_list requires_clause"))

(namespace_definition name: (_)? @scope.name body: (_) @scope.body) @scope.module
