; an element without an end, like <br>, has nothing to be inside of
(element . (start_tag (tag_name) @scope.name) . (_) @scope.body) @scope.class
(script_element . (start_tag (tag_name) @scope.name) . (_) @scope.body) @scope.class
(style_element . (start_tag (tag_name) @scope.name) . (_) @scope.body) @scope.class
