; the block's node does not contain its braces
(function_statement (function_name) @scope.name "{" @scope.body) @scope.function
(class_statement . (simple_name) @scope.name "{" @scope.body) @scope.class
(enum_statement . (simple_name) @scope.name "{" @scope.body) @scope.class
(class_method_definition (simple_name) @scope.name "{" @scope.body) @scope.function
