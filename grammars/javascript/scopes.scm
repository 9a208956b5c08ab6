; inherits: ecmascript
; a field of a class that holds a function
(field_definition property: (_) @scope.name value: (_ parameters: (_) body: (_) @scope.body)) @scope.function
(field_definition property: (_) @scope.name value: (arrow_function body: (_) @scope.body)) @scope.function
