(declaration declarator: (function_declarator declarator: (_) @definition.name)) @definition.function
(declaration declarator: (_ declarator: (function_declarator declarator: (_) @definition.name))) @definition.function
(type_definition declarator: (_) @definition.name) @definition.type
(preproc_def name: (_) @definition.name) @definition.constant
(preproc_function_def name: (_) @definition.name) @definition.function
