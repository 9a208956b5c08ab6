(contract_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(interface_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(library_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(struct_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(enum_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(function_definition name: (_) @scope.name body: (_) @scope.body) @scope.function
(modifier_definition name: (_) @scope.name body: (_) @scope.body) @scope.function
(constructor_definition "constructor" @scope.name body: (_) @scope.body) @scope.function
(fallback_receive_definition . _ @scope.name body: (_) @scope.body) @scope.function
