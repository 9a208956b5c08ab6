(program (statement_list (pipeline
  (assignment_expression (left_assignment_expression) @definition.name)) @definition.constant))
