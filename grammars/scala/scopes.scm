(function_definition name: (_) @scope.name body: (_) @scope.body) @scope.function
(class_definition name: (_) @scope.name body: (_) @scope.body) @scope.class
(object_definition name: (_) @scope.name body: (_) @scope.body) @scope.class
(trait_definition name: (_) @scope.name body: (_) @scope.body) @scope.class
(enum_definition name: (_) @scope.name body: (_) @scope.body) @scope.class
(package_object name: (_) @scope.name body: (_) @scope.body) @scope.class
(given_definition name: (_)? @scope.name body: [(template_body) (with_template_body)] @scope.body) @scope.class
(extension_definition body: (_) @scope.body) @scope.class
(val_definition pattern: (identifier) @scope.name value: (lambda_expression (block) @scope.body)) @scope.function
