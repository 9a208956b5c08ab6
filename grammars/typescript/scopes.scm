; inherits: javascript
((abstract_class_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "export default decorator"))

((interface_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "export default"))

((enum_declaration name: (_) @scope.name body: (_) @scope.body) @scope.class
  (#set! lead "export"))

((internal_module name: (_) @scope.name body: (_) @scope.body) @scope.module
  (#set! lead "export"))

((module name: (_) @scope.name body: (_) @scope.body) @scope.module
  (#set! lead "declare"))

; a field of a class that holds a function
(public_field_definition name: (_) @scope.name value: (_ parameters: (_) body: (_) @scope.body)) @scope.function
