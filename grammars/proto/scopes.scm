(message (message_name) @scope.name (message_body) @scope.body) @scope.class
(enum (enum_name) @scope.name (enum_body) @scope.body) @scope.class
(service (service_name) @scope.name "{" @scope.body) @scope.class
(oneof (identifier) @scope.name "{" @scope.body) @scope.class
