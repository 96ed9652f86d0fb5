-- Run inside a real Neovim on an opened network; asks everything, writes what came back as JSON.
-- The globals are set by the test: netspec_output (a file), and the places to ask at.

local WAIT = 30000
local buffer = vim.api.nvim_get_current_buf()
local found = { version = vim.fn.matchstr(vim.fn.execute('version'), 'NVIM v\\zs[0-9.]*') }

local function wait(what, condition)
  if not vim.wait(WAIT, condition, 20) then
    error('waited in vain: ' .. what)
  end
end

local function place(marked) -- (line, character) from 0 of the text at its first occurrence
  for number, line in ipairs(vim.api.nvim_buf_get_lines(buffer, 0, -1, false)) do
    local from = line:find(marked, 1, true)
    if from then
      return { line = number - 1, character = from - 1 }
    end
  end
  error('not in the text: ' .. marked)
end

local function ask(method, params)
  params.textDocument = vim.lsp.util.make_text_document_params(buffer)
  for _, answer in pairs(assert(vim.lsp.buf_request_sync(buffer, method, params, WAIT))) do
    assert(not answer.err, vim.inspect(answer.err))
    return answer.result
  end
  error('nobody answered ' .. method)
end

local function lines()
  return vim.api.nvim_buf_get_lines(buffer, 0, -1, false)
end

local function diagnostics()
  return vim.tbl_map(function(each)
    return { line = each.lnum, from = each.col, to = each.end_col, code = each.code, message = each.message }
  end, vim.diagnostic.get(buffer))
end

local function trial()
  wait('diagnostics', function() return #vim.diagnostic.get(buffer) > 0 end)
  found.diagnostics = diagnostics()

  found.hover = ask('textDocument/hover', { position = place('Conv2d') })

  local actions = ask('textDocument/codeAction', {
    range = { start = place('kernal_size'), ['end'] = place('kernal_size') },
    context = { diagnostics = {} },
  })
  found.actions = vim.tbl_map(function(action) return action.title end, actions)
  vim.lsp.util.apply_workspace_edit(actions[1].edit, 'utf-16')
  found.after_action = lines()
  wait('no diagnostics', function() return #vim.diagnostic.get(buffer) == 0 end)

  local last = vim.api.nvim_buf_line_count(buffer)
  local all = { start = { line = 0, character = 0 }, ['end'] = { line = last, character = 0 } }
  found.hints = ask('textDocument/inlayHint', { range = all })
  if vim.lsp.inlay_hint then
    wait('hints', function() return #vim.lsp.inlay_hint.get({ bufnr = buffer }) > 0 end)
    found.shown_hints = #vim.lsp.inlay_hint.get({ bufnr = buffer })
  end

  local reference = place('conv1]')
  vim.api.nvim_win_set_cursor(0, { reference.line + 1, reference.character })
  vim.lsp.buf.definition()
  wait('the definition', function() return vim.api.nvim_win_get_cursor(0)[1] ~= reference.line + 1 end)
  found.definition = vim.api.nvim_win_get_cursor(0)

  vim.lsp.buf.rename('first')
  wait('the new name', function() return table.concat(lines()):find('first', 1, true) end)
  found.after_rename = lines()

  local relu = place('ReLU')
  vim.api.nvim_buf_set_text(buffer, relu.line, relu.character, relu.line, relu.character + 4, { 'Con' })
  local at = { line = relu.line, character = relu.character + 3 }
  local offers = ask('textDocument/completion', { position = at, context = { triggerKind = 1 } })
  found.completion = vim.tbl_map(function(item) return item.label end, offers.items or offers)
end

local fine, reason = xpcall(trial, debug.traceback)
if not fine then
  found.failure = reason
end
local encode = vim.json and vim.json.encode or vim.fn.json_encode
vim.fn.writefile({ encode(found) }, vim.g.netspec_output)
vim.cmd('qall!')
