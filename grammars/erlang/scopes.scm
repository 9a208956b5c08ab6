; each clause of a function is a scope; the function's type precedes the first one
((fun_decl clause: (function_clause name: (_) @scope.name body: (_) @scope.body)) @scope.function
  (#set! lead "spec"))
