(namespace_declaration name: (_) @scope.name body: (_) @scope.body) @scope.module
(class_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(struct_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(interface_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(record_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(enum_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(method_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function
(constructor_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function
(local_function_statement name: (_) @scope.name body: (_) @scope.body) @scope.function
(property_declaration name: (_) @scope.name accessors: (_) @scope.body) @scope.function
(destructor_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function
(operator_declaration operator: _ @scope.name body: (_) @scope.body) @scope.function
(conversion_operator_declaration type: (_) @scope.name body: (_) @scope.body) @scope.function
(indexer_declaration "this" @scope.name accessors: (_) @scope.body) @scope.function
(event_declaration name: (_) @scope.name accessors: (_) @scope.body) @scope.function

; a function named by its variable
(local_declaration_statement (variable_declaration
  (variable_declarator name: (_) @scope.name (lambda_expression body: (block) @scope.body)))) @scope.function
