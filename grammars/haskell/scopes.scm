; each equation of a function is a scope; the function's type precedes the first one
((function name: (_) @scope.name match: (_) @scope.body) @scope.function
  (#set! lead "signature"))

((function (infix operator: (_) @scope.name) match: (_) @scope.body) @scope.function
  (#set! lead "signature"))

((bind name: (_) @scope.name match: (_) @scope.body) @scope.function
  (#set! lead "signature"))

(class name: (_) @scope.name declarations: (_) @scope.body) @scope.class
(instance name: (_) @scope.name declarations: (_) @scope.body) @scope.class
(data_type name: (_) @scope.name constructors: (_) @scope.body) @scope.class
