(program (statement_list (pipeline
  (assignment_expression (left_assignment_expression) @definition.name)) @definition.constant))
(class_property_definition (variable) @definition.name) @definition.constant
