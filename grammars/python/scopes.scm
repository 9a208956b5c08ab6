((function_definition name: (_) @scope.name body: (_) @scope.body) @scope.function
  (#set! lead "decorator"))

((class_definition name: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "decorator"))
