(function_definition name: (_) @scope.name body: (_) @scope.body) @scope.function
(class_definition name: (_) @scope.name body: (_) @scope.body) @scope.class
(object_definition name: (_) @scope.name body: (_) @scope.body) @scope.class
(trait_definition name: (_) @scope.name body: (_) @scope.body) @scope.class
(enum_definition name: (_) @scope.name body: (_) @scope.body) @scope.class
