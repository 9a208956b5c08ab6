; each clause of a function is a scope; its type stands in front of the first
((fun_decl clause: (function_clause name: (_) @scope.name body: (_) @scope.body)) @scope.function
  (#set! lead "spec"))
