-- Ghost text for Neovim 0.10 and 0.11, which have no inline completion of their own: extmarks at the cursor.
local suggestion = require('starcoder.suggestion')

local M = {}
local namespace = vim.api.nvim_create_namespace('starcoder')
local states = {} -- by buffer: client, suggestions, index, request

--- Show what is left of the selected suggestion, or nothing.
local function show(state, bufnr)
  vim.api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
  local selected = state.suggestions[state.index]
  local rest, col = suggestion.rest(selected)
  if not rest or not vim.startswith(vim.api.nvim_get_mode().mode, 'i') then
    return
  end
  local lines = vim.tbl_map(function(line)
    return { { line, 'ComplHint' } }
  end, vim.split(rest, '\n', { plain = true }))
  if #state.suggestions > 1 then
    local hint = (' (%d/%d)'):format(state.index, #state.suggestions)
    table.insert(lines[#lines], { hint, 'ComplHintMore' })
  end
  vim.api.nvim_buf_set_extmark(bufnr, namespace, selected.row, col, {
    virt_text = lines[1],
    virt_text_pos = selected.tail == '' and 'inline' or 'overlay',
    virt_lines = vim.list_slice(lines, 2),
    hl_mode = 'combine',
  })
  if not selected.was_shown then
    selected.was_shown = true
    local told = { item = selected.item }
    suggestion.call(state.client, 'notify', 'textDocument/didShowCompletion', told)
  end
end

local function ask(state, bufnr, kind, first)
  local _, request = suggestion.ask(state.client, bufnr, kind, function(suggestions)
    state.suggestions, state.index = suggestions, first and #suggestions > 0 and first % #suggestions + 1 or 1
    show(state, bufnr)
  end)
  state.request = request
end

local function stop(state, bufnr)
  if state.request then
    suggestion.call(state.client, 'cancel_request', state.request)
  end
  state.suggestions, state.request = {}, nil
  show(state, bufnr)
end

function M.attach(client, bufnr, group)
  vim.api.nvim_set_hl(0, 'ComplHint', { link = 'NonText', default = true })
  vim.api.nvim_set_hl(0, 'ComplHintMore', { link = 'MoreMsg', default = true })
  local state = { client = client, suggestions = {}, index = 1 }
  states[bufnr] = state
  vim.api.nvim_create_autocmd({ 'InsertEnter', 'CursorMovedI', 'TextChangedP' }, {
    group = group,
    buffer = bufnr,
    callback = function()
      show(state, bufnr)
      ask(state, bufnr, suggestion.AUTOMATIC) -- the server waits until nobody types; a newer request ends an older one
    end,
  })
  vim.api.nvim_create_autocmd({ 'InsertLeave', 'BufLeave' }, {
    group = group,
    buffer = bufnr,
    callback = function()
      stop(state, bufnr)
    end,
  })
end

function M.detach(bufnr)
  vim.api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
  states[bufnr] = nil
end

function M.accept(bufnr, part)
  local state = states[bufnr]
  local was_accepted = state and suggestion.accept(state.suggestions[state.index], part)
  if was_accepted then
    show(state, bufnr)
  end
  return was_accepted
end

--- Show the suggestion `count` further. The first time the server is asked for more of them.
function M.cycle(bufnr, count)
  local state = states[bufnr]
  if not state then
    return false
  end
  local is_shown = suggestion.rest(state.suggestions[state.index])
  if is_shown and #state.suggestions > 1 then
    state.index = (state.index - 1 + count) % #state.suggestions + 1
    show(state, bufnr)
  else
    ask(state, bufnr, suggestion.INVOKED, is_shown and count)
  end
  return true
end

return M
