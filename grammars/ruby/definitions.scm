(program (assignment left: (constant) @definition.name) @definition.constant)
(body_statement (assignment left: (constant) @definition.name) @definition.constant)
