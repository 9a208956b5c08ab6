((module_binding (module_name) @scope.name . (signature) @scope.body) @scope.module
  (#set! lead "module rec and"))

(module_type_definition (module_type_name) @scope.name body: (_) @scope.body) @scope.module
