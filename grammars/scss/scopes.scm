(rule_set (selectors) @scope.name (block) @scope.body) @scope.class
(keyframes_statement (keyframes_name) @scope.name (keyframe_block_list) @scope.body) @scope.class
(media_statement . (_) @scope.name (block) @scope.body) @scope.module
(supports_statement . (_) @scope.name (block) @scope.body) @scope.module
(at_rule (at_keyword) @scope.name (block) @scope.body) @scope.module
(mixin_statement name: (_) @scope.name (block) @scope.body) @scope.function
(function_statement name: (_) @scope.name (block) @scope.body) @scope.function
