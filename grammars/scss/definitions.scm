(stylesheet (declaration (property_name) @definition.name) @definition.constant)
