(program (variable_assignment name: (_) @definition.name) @definition.constant)
(program (declaration_command (variable_assignment name: (_) @definition.name)) @definition.constant)
(program (variable_assignments (variable_assignment name: (_) @definition.name) @definition.constant))
