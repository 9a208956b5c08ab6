-- Neovim 0.12's own inline completion, and what it leaves to a plugin: more suggestions when a person asks for them,
-- accepting by words and lines, and nothing shown that does not fit what was typed meanwhile.
local suggestion = require('starcoder.suggestion')

local M = {}
local states = {} -- by buffer: client, suggestions, index, and display: Neovim's own handler of answers

--- Show what the server sent, or nothing.
local function show(state, suggestions, items)
  state.suggestions, state.index = suggestions, 1
  if state.display then
    state.display(nil, { items = items }, { client_id = state.client.id, method = suggestion.METHOD })
  end
end

--- Neovim asks by `client:request`. Take its handler, and give it no answer that comes too late.
local function intercept(client)
  local request = client.request
  client.request = function(self, method, params, handler, bufnr)
    local state = method == suggestion.METHOD and states[bufnr]
    if not state or params.context.triggerKind == suggestion.INVOKED then
      return request(self, method, params, handler, bufnr)
    end
    state.display = handler
    return request(self, method, params, suggestion.in_time(client, bufnr, function(suggestions, items)
      show(state, suggestions, items)
    end), bufnr)
  end
end

function M.attach(client, bufnr, group)
  if not client.starcoder_intercepted then
    client.starcoder_intercepted = true
    intercept(client)
  end
  local state = { client = client, suggestions = {}, index = 1 }
  states[bufnr] = state
  vim.lsp.inline_completion.enable(true, { bufnr = bufnr })
  vim.api.nvim_create_autocmd({ 'CursorMovedI', 'TextChangedP' }, {
    group = group,
    buffer = bufnr,
    callback = function()
      if #state.suggestions > 0 and not suggestion.rest(state.suggestions[state.index]) then
        show(state, {}, {})
      end
    end,
  })
end

function M.detach(bufnr)
  states[bufnr].display = nil -- Neovim has forgotten the client
  states[bufnr] = nil
end

function M.accept(bufnr, part)
  local state = states[bufnr]
  local selected = state and state.suggestions[state.index]
  if not suggestion.accept(selected, part) then
    return false
  end
  if selected.text == '' then
    show(state, {}, {})
  else
    show(state, { selected }, { suggestion.item_of_rest(selected) })
  end
  return true
end

--- Show the suggestion `count` further. The first time the server is asked for more of them.
function M.cycle(bufnr, count)
  local state = states[bufnr]
  if not state then
    return false
  end
  local is_shown = suggestion.rest(state.suggestions[state.index])
  local function select()
    state.index = (state.index - 1 + count) % #state.suggestions + 1
    vim.lsp.inline_completion.select({ bufnr = bufnr, count = count })
  end
  if is_shown and #state.suggestions > 1 then
    select()
  else
    suggestion.ask(state.client, bufnr, suggestion.INVOKED, function(suggestions, items)
      show(state, suggestions, items)
      if is_shown and #suggestions > 0 then
        select()
      end
    end)
  end
  return true
end

return M
