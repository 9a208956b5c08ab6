(create_table (object_reference) @definition.name) @definition.class
(create_type (object_reference) @definition.name) @definition.type
(create_trigger (keyword_trigger) . (object_reference) @definition.name) @definition.function
