(function_declaration (simple_identifier) @scope.name (function_body) @scope.body) @scope.function
(secondary_constructor "constructor" @scope.name "{" @scope.body) @scope.function
(anonymous_initializer "init" @scope.name "{" @scope.body) @scope.function
(class_declaration (type_identifier) @scope.name [(class_body) (enum_class_body)] @scope.body) @scope.class
(object_declaration (type_identifier) @scope.name (class_body) @scope.body) @scope.class
(companion_object (type_identifier)? @scope.name (class_body) @scope.body) @scope.class
(object_literal (class_body) @scope.body) @scope.class
(enum_entry (simple_identifier) @scope.name (class_body) @scope.body) @scope.class

; the accessors of a property follow it as siblings
(getter "get" @scope.name (function_body) @scope.body) @scope.function
(setter "set" @scope.name (function_body) @scope.body) @scope.function
