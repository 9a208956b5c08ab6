(function_declaration (simple_identifier) @scope.name (function_body) @scope.body) @scope.function
(secondary_constructor "constructor" @scope.name (statements) @scope.body) @scope.function
(class_declaration (type_identifier) @scope.name [(class_body) (enum_class_body)] @scope.body) @scope.class
(object_declaration (type_identifier) @scope.name (class_body) @scope.body) @scope.class
(companion_object (class_body) @scope.body) @scope.class
