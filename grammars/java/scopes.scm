(class_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(interface_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(enum_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(record_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(annotation_type_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(method_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function
(constructor_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function
(compact_constructor_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function
