(function_definition declarator: (function_declarator declarator: (_) @scope.name) body: (_) @scope.body) @scope.function

; a function that returns a pointer, or a pointer to one
(function_definition
  declarator: (_ declarator: (function_declarator declarator: (_) @scope.name))
  body: (_) @scope.body) @scope.function
(function_definition
  declarator: (_ declarator: (_ declarator: (function_declarator declarator: (_) @scope.name)))
  body: (_) @scope.body) @scope.function

; a function with any other declarator, without its name
(function_definition body: (_) @scope.body) @scope.function

(struct_specifier name: (_)? @scope.name body: (_) @scope.body) @scope.class
(union_specifier name: (_)? @scope.name body: (_) @scope.body) @scope.class
(enum_specifier name: (_)? @scope.name body: (_) @scope.body) @scope.class
