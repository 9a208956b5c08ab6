(function_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function
(method_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function

((type_spec name: (_) @scope.name type: (struct_type (_) @scope.body)) @scope.class
  (#set! lead "type"))

((type_spec name: (_) @scope.name type: (interface_type) @scope.body) @scope.class
  (#set! lead "type"))

; functions named by the variable that they are assigned to
(short_var_declaration
  left: (expression_list . (identifier) @scope.name .)
  right: (expression_list . (func_literal body: (_) @scope.body) .)) @scope.function

((var_spec name: (_) @scope.name value: (expression_list . (func_literal body: (_) @scope.body) .)) @scope.function
  (#set! lead "var"))
