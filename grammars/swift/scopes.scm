(function_declaration "func" . _ @scope.name body: (_) @scope.body) @scope.function
(init_declaration "init" @scope.name body: (_) @scope.body) @scope.function
(deinit_declaration "deinit" @scope.name body: (_) @scope.body) @scope.function
(subscript_declaration "subscript" @scope.name (computed_property) @scope.body) @scope.function
(property_declaration name: (pattern) @scope.name computed_value: (_) @scope.body) @scope.function
(property_declaration name: (pattern) @scope.name (willset_didset_block) @scope.body) @scope.function
(class_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(protocol_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
