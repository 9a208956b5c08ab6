; each equation of a function is a scope; its type stands in front of the first
((function name: (_) @scope.name match: (_) @scope.body) @scope.function
  (#set! lead "signature"))

((bind name: (_) @scope.name match: (_) @scope.body) @scope.function
  (#set! lead "signature"))

(class name: (_) @scope.name declarations: (_) @scope.body) @scope.class
(instance name: (_) @scope.name declarations: (_) @scope.body) @scope.class
(data_type name: (_) @scope.name constructors: (_) @scope.body) @scope.class
