; an empty body has no node
(function_declaration name: (_) @scope.name body: (_)? @scope.body) @scope.function

((assignment_statement
  (variable_list . name: (_) @scope.name .)
  (expression_list . value: (function_definition body: (_)? @scope.body) .)) @scope.function
  (#set! lead "local"))
