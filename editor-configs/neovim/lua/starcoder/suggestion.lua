-- A suggestion and the buffer: whether it still fits what was typed, and what accepting it, or a part of it, does.
--
-- It was made for the cursor at byte `col` of line `row` (both from 0), and replaces `tail`, the few closing brackets
-- that stood behind the cursor then. `item` is what the server sent, of which `text` is what is not accepted yet.
local M = {}

M.METHOD = 'textDocument/inlineCompletion'
M.INVOKED, M.AUTOMATIC = 1, 2

--- Neovim 0.10 has functions where later ones have methods.
function M.call(client, name, ...)
  if vim.fn.has('nvim-0.11') == 1 then
    return client[name](client, ...)
  end
  return client[name](...)
end

local function byte_of(line, character, encoding)
  if encoding == 'utf-8' then
    return math.min(character, #line)
  elseif vim.fn.has('nvim-0.11') == 1 then
    return vim.str_byteindex(line, encoding, character, false)
  end
  return vim.str_byteindex(line, character, encoding == 'utf-16')
end

--- The server's item, for the text as it is now.
function M.new(client, bufnr, item)
  local start, stop = item.range.start, item.range['end']
  local line = vim.api.nvim_buf_get_lines(bufnr, start.line, start.line + 1, false)[1] or ''
  local first = byte_of(line, start.character, client.offset_encoding)
  local last = byte_of(line, stop.character, client.offset_encoding)
  item.insertText = item.insertText:gsub('\r\n?', '\n')
  return {
    client = client,
    bufnr = bufnr,
    item = item,
    row = start.line,
    col = first,
    text = item.insertText,
    tail = line:sub(first + 1, last),
    n_accepted = 0, -- UTF-16 units
  }
end

--- What is left of it behind the cursor, and where that is; nil where it fits no more.
function M.rest(s)
  if not s or vim.api.nvim_get_current_buf() ~= s.bufnr then
    return nil
  end
  local row, col = unpack(vim.api.nvim_win_get_cursor(0))
  local line = vim.api.nvim_get_current_line()
  local typed = line:sub(s.col + 1, col)
  local fits = row - 1 == s.row
    and col >= s.col
    and #typed < #s.text
    and vim.startswith(s.text, typed)
    and vim.startswith(line:sub(col + 1), s.tail)
  if fits then
    return s.text:sub(#typed + 1), col, typed
  end
end

local part_of = {
  word = function(text)
    return vim.fn.matchstr(text, [[^\_s*\%(\k\+\|\%(\k\@!\S\)\+\)]])
  end,
  line = function(text)
    return text:match('^\n*[^\n]*')
  end,
}

local function end_undo_step()
  vim.bo.undolevels = vim.bo.undolevels -- :help undo-break
end

--- Insert what is left of it, or the next 'word' or 'line', as one step of undo. Returns whether it fitted.
function M.accept(s, part)
  local rest, col, typed = M.rest(s)
  if not rest then
    return false
  end
  local wanted = part and part_of[part](rest) or ''
  wanted = wanted == '' and rest or wanted
  local is_all = wanted == rest
  local lines = vim.split(wanted, '\n', { plain = true })
  end_undo_step()
  vim.api.nvim_buf_set_text(s.bufnr, s.row, col, s.row, col + (is_all and #s.tail or 0), lines)
  s.row, s.col, s.text = s.row + #lines - 1, (#lines == 1 and col or 0) + #lines[#lines], rest:sub(#wanted + 1)
  vim.api.nvim_win_set_cursor(0, { s.row + 1, s.col })
  end_undo_step()
  if is_all then
    M.call(s.client, 'request', 'workspace/executeCommand', s.item.command, function() end, s.bufnr)
  else
    s.n_accepted = s.n_accepted + vim.fn.strutf16len(typed .. wanted)
    local told = { item = s.item, acceptedLength = s.n_accepted }
    M.call(s.client, 'notify', 'textDocument/didPartiallyAcceptCompletion', told)
  end
  return true
end

--- The server's item for what is left of it at the cursor, right after a part was accepted.
function M.item_of_rest(s)
  local start = vim.lsp.util.make_position_params(0, s.client.offset_encoding).position
  local stop = { line = start.line, character = start.character + #s.tail } -- closing brackets are ASCII
  return vim.tbl_extend('force', s.item, { insertText = s.text, range = { start = start, ['end'] = stop } })
end

local function place(bufnr)
  return { bufnr, vim.api.nvim_buf_get_changedtick(bufnr), vim.api.nvim_win_get_cursor(0) }
end

--- A handler of answers for the cursor as it is now. `on_answer` gets the suggestions, unless there is no answer or the
--- cursor or the text is another by then.
function M.in_time(client, bufnr, on_answer)
  local asked_at = place(bufnr)
  return function(_, result)
    if result and vim.deep_equal(asked_at, place(vim.api.nvim_get_current_buf())) then
      local suggestions = vim.tbl_map(function(item)
        return M.new(client, bufnr, item)
      end, result.items)
      on_answer(suggestions, result.items)
    end
  end
end

--- Ask for suggestions at the cursor.
function M.ask(client, bufnr, kind, on_answer)
  local params = vim.lsp.util.make_position_params(0, client.offset_encoding)
  params.context = { triggerKind = kind }
  return M.call(client, 'request', M.METHOD, params, M.in_time(client, bufnr, on_answer), bufnr)
end

return M
