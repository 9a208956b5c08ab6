(function_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function
(init_declaration "init" @scope.name body: (_) @scope.body) @scope.function
(class_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(protocol_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
