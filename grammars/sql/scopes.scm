(create_table (object_reference) @scope.name (column_definitions) @scope.body) @scope.class
(create_view (object_reference) @scope.name (create_query) @scope.body) @scope.class
(create_materialized_view (object_reference) @scope.name (create_query) @scope.body) @scope.class
(create_function (object_reference) @scope.name (function_body) @scope.body) @scope.function
