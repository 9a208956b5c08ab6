(class_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(interface_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(enum_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(enum_constant name: (_) @scope.name body: (_) @scope.body) @scope.class
(record_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(annotation_type_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(object_creation_expression (class_body) @scope.body) @scope.class
(method_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function
(constructor_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function
(compact_constructor_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function
(static_initializer (block) @scope.body) @scope.function
