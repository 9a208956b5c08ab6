; inherits: ecmascript
((class_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "export default declare decorator"))

((abstract_class_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "export default declare decorator"))

((interface_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "export default declare"))

((enum_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "export declare"))

((internal_module name: (_) @scope.name body: (_) @scope.body) @scope.module
  (#set! lead "export declare"))

((module name: (_) @scope.name body: (_) @scope.body) @scope.module
  (#set! lead "declare"))

; a field of a class that holds a function
(public_field_definition name: (_) @scope.name value: (_ parameters: (_) body: (_) @scope.body)) @scope.function
(public_field_definition name: (_) @scope.name value: (arrow_function body: (_) @scope.body)) @scope.function
