; inherits: c
(method_definition (method_type) . (identifier) @scope.name (compound_statement) @scope.body) @scope.function

; the body is everything from the first member on
(class_implementation . (identifier) @scope.name [(implementation_definition) (instance_variables)]? @scope.body)
  @scope.class
(class_interface
  . (identifier) @scope.name
  [(method_declaration) (property_declaration) (instance_variables)]? @scope.body) @scope.class
(protocol_declaration
  . (identifier) @scope.name
  [(method_declaration) (property_declaration) (qualified_protocol_interface_declaration)]? @scope.body) @scope.class
