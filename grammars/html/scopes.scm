; not an element without an end tag, such as <br>: a cursor cannot be inside of it
(element . (start_tag (tag_name) @scope.name) . (_) @scope.body) @scope.class
(script_element . (start_tag (tag_name) @scope.name) . (_) @scope.body) @scope.class
(style_element . (start_tag (tag_name) @scope.name) . (_) @scope.body) @scope.class
