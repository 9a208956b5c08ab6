(function_definition name: (_) @scope.name body: (_) @scope.body) @scope.function
(method_declaration name: (_) @scope.name body: (_) @scope.body) @scope.function
(class_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(interface_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(trait_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(enum_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
(namespace_definition name: (_) @scope.name body: (_) @scope.body) @scope.module
(property_hook (name) @scope.name body: (_) @scope.body) @scope.function
(anonymous_class body: (_) @scope.body) @scope.class

; a function named by its variable
(expression_statement (assignment_expression
  left: (_) @scope.name
  right: (anonymous_function body: (_) @scope.body))) @scope.function

; tests: it('works', function () { });
((function_call_expression
  function: (name) @_test
  arguments: (arguments
    .
    (argument (string (string_content) @scope.name))
    (argument (anonymous_function body: (_) @scope.body)))) @scope.function
  (#one-of? @_test "it" "test"))

((function_call_expression
  function: (name) @_suite
  arguments: (arguments
    .
    (argument (string (string_content) @scope.name))
    (argument (anonymous_function body: (_) @scope.body)))) @scope.class
  (#one-of? @_suite "describe"))
