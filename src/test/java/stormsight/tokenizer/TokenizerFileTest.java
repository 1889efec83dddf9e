package stormsight.tokenizer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Base64;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import stormsight.checkpoint.CheckpointException;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** What a tokenizer.json may hold: each message is one line that names the file and the component. */
class TokenizerFileTest {
    private static final Path GEMMA = TokenizerTest.GOLDENS.resolve("tokenizer/tokenizer.json");
    private static final Path OPT = TokenizerTest.GOLDENS.resolve("tokenizers/opt/tokenizer.json");
    private static final Path SIGLIP = TokenizerTest.GOLDENS.resolve("tokenizers/siglip/tokenizer.json");
    private static final String TEXT = "caption en  the cat <loc0001> \u65e5\u672c\n";

    @TempDir
    Path folder;

    private static ObjectNode gemma() {
        return (ObjectNode) TokenizerTest.json(GEMMA);
    }

    private Path write(String content) throws IOException {
        return Files.writeString(folder.resolve("tokenizer.json"), content);
    }

    private Tokenizer open(ObjectNode json) throws IOException {
        return Tokenizer.open(write(json.toString()));
    }

    private void refused(String message, ObjectNode json) throws IOException {
        Path file = write(json.toString());
        CheckpointException e = assertThrows(CheckpointException.class, () -> Tokenizer.open(file));
        assertTrue(e.getMessage().startsWith(file + ": " + message), e.getMessage());
        assertFalse(e.getMessage().contains("\n"), e.getMessage());
    }

    /** Components that native libraries have been seen to die of, and others that are not known here. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "pre_tokenizer  | {'type':'FixedLength','length':0} | pre_tokenizer \"FixedLength\": this type is not supporte",
        "normalizer     | {'type':'Precompiled','precompiled_charsmap':'AAAAAA=='} | normalizer \"Precompiled\": empty",
        "normalizer     | {'type':'Precompiled','precompiled_charsmap':''} | normalizer \"Precompiled\": empty map",
        "normalizer     | {'type':'Precompiled','precompiled_charsmap':'/////w=='} | normalizer \"Precompiled\": a map",
        "normalizer     | {'type':'Precompiled','precompiled_charsmap':'ALQCAACEAAAAAACAAQAAgMz8AgC4BQAA'} | normalize",
        "normalizer     | {'type':'Precompiled','precompiled_charsmap':'?'} | normalizer \"Precompiled\": ",
        "normalizer     | {'type':'Prepend','prepend':''} | normalizer \"Prepend\": prepend is empty",
        "normalizer     | {'type':'None'} | normalizer \"None\": this type is not supported",
        "normalizer     | {'type':'ByteLevel'} | normalizer \"ByteLevel\": this type is not supported",
        "normalizer     | {'type':'Nmt'} | normalizer \"Nmt\": this type is not supported",
        "normalizer     | {'type':'NFC','form':'x'} | normalizer \"NFC\": the argument form is not supported",
        "normalizer     | {} | normalizer: no type",
        "normalizer     | 7 | normalizer: not an object",
        "normalizer     | {'type':7} | normalizer: type is no text",
        "normalizer     | {'type':'Sequence'} | normalizer \"Sequence\": no list normalizers",
        "normalizer     | {'type':'Replace','pattern':{'Regex':''},'content':'y'} | normalizer \"Replace\": the patter",
        "normalizer     | {'type':'Replace','pattern':{'Regex':'(?=a)'},'content':''} | normalizer \"Replace\": the pa",
        "normalizer     | {'type':'Replace','pattern':{'Regex':'(a+)+b'},'content':''} | normalizer \"Replace\": the p",
        "normalizer     | {'type':'Replace','pattern':{'String':''},'content':'y'} | normalizer \"Replace\": the patte",
        "pre_tokenizer  | {'type':'Split','pattern':{'Regex':'(a*)*$'},'behavior':'Removed'} | pre_tokenizer \"Split\"",
        "pre_tokenizer  | {'type':'Metaspace','replacement':'','prepend_scheme':'first'} | pre_tokenizer \"Metaspace\"",
        "pre_tokenizer  | {'type':'Metaspace','replacement':'_','prepend_scheme':'second'} | pre_tokenizer \"Metaspace",
        "pre_tokenizer  | {'type':'Metaspace','replacement':'_','prepend_scheme':'first','add_prefix_space':false} | p",
        "decoder        | {'type':'Strip','content':' ','start':3,'stop':3} | decoder \"Strip\": stop is 3, 0 to 0 exp",
        "decoder        | {'type':'Strip','content':'a','start':18446744073709551615,'stop':0} | decoder \"Strip\": st",
        "decoder        | {'type':'CTC'} | decoder \"CTC\": this type is not supported",
        "post_processor | {'type':'TemplateProcessing','single':[{'Sequence':{'id':'B'}}],'special_tokens':{}} | post_",
        "post_processor | {'type':'TemplateProcessing','single':[],'special_tokens':{}} | post_processor \"TemplatePro",
        "post_processor | {'type':'RobertaProcessing','sep':['<eos>',2],'cls':['<bos>',2]} | post_processor \"RobertaP",
        "post_processor | {'type':'BertProcessing','sep':['nothing',2],'cls':['<bos>',2]} | post_processor \"BertProce",
    })
    void componentsAreRefusedByName(String place, String component, String message) throws IOException {
        ObjectNode json = gemma();
        json.set(place, JsonMapper.shared().readTree(component.replace('\'', '"')));
        refused(message, json);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "continuing_subword_prefix | \"\u00e9\u00e9\" | model \"BPE\": the continuing_subword_prefix",
        "dropout | 0.1 | model \"BPE\": dropout",
        "unk_token | \"zzz\" | model \"BPE\": the unk_token \"zzz\" is not in the vocabulary",
        "type | \"WordLevel\" | model \"WordLevel\": this type is not supported",
        "type | \"Unigram\" | model \"Unigram\": vocab and merges are not those of this type",
        "merges | [\"a\"] | model: the merge 0 is no pair of tokens",
        "merges | [\"a b c\"] | model: the merge 0 is no pair of tokens",
        "merges | [[\"a\"]] | model: the merge 0 is no pair of tokens",
        "merges | [[\"a\",\"\u732b\"]] | model: the merge 0 needs the token \"\u732b\", which the vocabulary lacks",
        "vocab | {\"a\":0,\"b\":0} | model: the tokens \"a\" and \"b\" both have the id 0",
        "vocab | {\"a\":-1} | model: the token \"a\" has no id",
        "vocab | {\"a\":1e9} | model: the token \"a\" has no id",
        "vocab | {\"a\":\"1\"} | model: the token \"a\" has no id",
        "vocab | {\"a\":99999999999999999999} | model: the token \"a\" has no id",
        "vocab | {\"a\":99999999999} | model: the token \"a\" has the id 99999999999",
        "vocab | {\"a\":4194304} | model: the token \"a\" has the id 4194304",
        "vocab | {} | no vocabulary",
    })
    void modelsAreRefusedByName(String argument, String value, String message) throws IOException {
        ObjectNode json = gemma();
        ((ObjectNode) json.get("model")).set(argument, JsonMapper.shared().readTree(value));
        refused(message, json);
    }

    @Test
    void aTokenTwiceIsRefused() throws IOException {
        Path file = write("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}}");
        CheckpointException e = assertThrows(CheckpointException.class, () -> Tokenizer.open(file));
        assertEquals(file + ": model: the token \"a\" has the ids 0 and 1", e.getMessage());
    }

    @Test
    void anEmptyFileIsNamedSo() throws IOException {
        Path file = write("");
        CheckpointException e = assertThrows(CheckpointException.class, () -> Tokenizer.open(file));
        assertEquals(file + ": the file is empty; download it again", e.getMessage());
    }

    /** Where the file ends early, holds a key twice, or goes on. */
    @Test
    void brokenJsonIsRefused() throws IOException {
        String good = gemma().toString();
        for (String bad : new String[] {
            "", " ", "[]", "null", good.substring(0, good.length() - 1), good + "x", good + good,
            "{\"decoder\":null," + good.substring(1), "\u0000" + good,
            good.replace("\"type\":\"BPE\"", "\"type\":\"BPE\",\"type\":\"BPE\"")
        }) {
            Path file = write(bad);
            CheckpointException e = assertThrows(CheckpointException.class, () -> Tokenizer.open(file));
            assertTrue(e.getMessage().startsWith(file + ": "), e.getMessage());
            assertFalse(e.getMessage().contains("\n"), e.getMessage());
        }
    }

    @Test
    void truncationAndPaddingOfTheFileAreNotApplied() throws IOException {
        ObjectNode json = gemma();
        json.putObject("truncation").put("max_length", 0).put("stride", 1).put("strategy", "LongestFirst");
        json.putObject("padding").put("pad_to_multiple_of", 0).put("pad_id", 0).putObject("strategy").put("Fixed", 0);
        assertArrayEquals(Tokenizer.open(GEMMA).encodeWithSpecials(TEXT), open(json).encodeWithSpecials(TEXT));
    }

    @Test
    void aByteOrderMarkIsDropped() throws IOException {
        Tokenizer tokenizer = Tokenizer.open(write("\ufeff" + Files.readString(GEMMA)));
        assertArrayEquals(Tokenizer.open(GEMMA).encode(TEXT), tokenizer.encode(TEXT));
    }

    /** Keys have no order. */
    @Test
    void mergesMayStandBeforeTheVocabulary() throws IOException {
        ObjectNode json = gemma();
        ObjectNode model = (ObjectNode) json.remove("model");
        ObjectNode turned = JsonMapper.shared().createObjectNode();
        turned.set("merges", model.remove("merges"));
        turned.setAll(model);
        ObjectNode first = JsonMapper.shared().createObjectNode();
        first.set("model", turned);
        first.setAll(json);
        assertArrayEquals(Tokenizer.open(GEMMA).encode(TEXT), open(first).encode(TEXT));
    }

    /** GPT-2's first files name no type. */
    @Test
    void aModelWithMergesNeedsNoType() throws IOException {
        ObjectNode json = (ObjectNode) TokenizerTest.json(OPT);
        ((ObjectNode) json.get("model")).remove("type");
        assertArrayEquals(Tokenizer.open(OPT).encode(TEXT), open(json).encode(TEXT));
    }

    private static ObjectNode withAdded(int id, String content) {
        ObjectNode json = gemma();
        ((ArrayNode) json.get("added_tokens")).addObject().put("id", id).put("content", content).put("special", false);
        return json;
    }

    /** The library would give a new token the next free id, whatever the file says. */
    @Test
    void addedTokensHaveTheIdsOfTheFile() throws IOException {
        Tokenizer tokenizer = open(withAdded(1000, "zz05"));
        assertEquals(1001, tokenizer.size());
        assertArrayEquals(new int[] {1000}, tokenizer.encode("zz05"));
        assertEquals("zz05", tokenizer.decode(new int[] {1000}, true));
        assertEquals("", tokenizer.token(800));
        assertEquals("", tokenizer.decode(new int[] {800}, true));
    }

    @Test
    void addedTokensDoNotContradictTheVocabulary() throws IOException {
        refused("the added token \"zz05\" has the id 15 of \"<unused8>\"", withAdded(15, "zz05"));
        refused("the added token \"\u2581the\" has the id 1000, in the vocabulary 382", withAdded(1000, "\u2581the"));
        refused("the added tokens \"<image>\" and \"zz05\" both have the id 627", withAdded(627, "zz05"));
        refused("the added token \"<image>\" twice", withAdded(700, "<image>"));
        refused("added_tokens: the token 700 is empty", withAdded(700, ""));
        refused("added_tokens: content is too long", withAdded(700, "x".repeat(5000)));
    }

    @Test
    void growthHasALimit() throws IOException {
        ObjectNode json = gemma();
        ArrayNode steps = json.putObject("normalizer").put("type", "Sequence").putArray("normalizers");
        for (int i = 0; i < 20; i++) {
            ObjectNode step = steps.addObject().put("type", "Replace").put("content", "aaaaaaaaaaaaaaaa");
            step.putObject("pattern").put("String", "a");
        }
        refused("normalizer \"Sequence\": could make more than 1000 characters out of one", json);
        for (int i = 0; i < 20; i++) {
            steps.addObject().put("type", "NFC");
        }
        refused("normalizer \"Sequence\": more than 32 components", json);
    }

    /** A map whose only unit leads to a leaf outside of it. */
    @Test
    void aMapThatPointsOutsideItselfIsRefused() throws IOException {
        byte[] map = {4, 0, 0, 0, 0, (byte) 0xff, 0, 0, 0};
        ObjectNode json = gemma();
        json.putObject("normalizer").put("type", "Precompiled")
                .put("precompiled_charsmap", Base64.getEncoder().encodeToString(map));
        refused("normalizer \"Precompiled\": a map that points outside", json);
    }

    /**
     * Whatever a part of the file ends within: characters of several bytes, escapes, numbers, values of other
     * components.
     */
    @Test
    void readsInPartsOfAnySize() throws IOException {
        String json = "{\"a\" : [1, {\"b\\u00e9\\ud83d\\ude42\": null}] , "
                + "\"m\u732b\ud83d\ude42\\n\\\"\":  12345 ,\"x\":-1.5e3}";
        byte[] bytes = json.getBytes(StandardCharsets.UTF_8);
        for (int part = 1; part <= bytes.length; part++) {
            JsonScanner in = new JsonScanner(new ByteArrayInputStream(bytes), part);
            assertTrue(in.begin('{', '}'));
            assertEquals("a", in.string());
            in.expect(':');
            assertEquals("[1, {\"b\\u00e9\\ud83d\\ude42\": null}]", new String(in.value(), StandardCharsets.UTF_8));
            assertTrue(in.next('}'));
            assertEquals("m\u732b\ud83d\ude42\n\"", in.string());
            in.expect(':');
            assertEquals(12345, in.integer());
            assertTrue(in.next('}'));
            assertEquals("x", in.string());
            in.expect(':');
            assertEquals(-1, in.integer());
            assertEquals(-1500, in.number());
            assertFalse(in.next('}'));
            assertEquals(-1, in.peek());
        }
    }

    @Test
    void readsLongStrings() {
        String name = "x".repeat(5000);
        assertEquals(name, new JsonScanner(("\"" + name + "\"").getBytes(StandardCharsets.UTF_8)).string());
    }

    /**
     * Pairs that all merge, texts without a space, words of one character: what would take a square of time elsewhere.
     */
    @Test
    void longTextsTakeTimeInProportion() throws IOException {
        ObjectNode json = gemma();
        ObjectNode model = (ObjectNode) json.get("model");
        ObjectNode vocabulary = model.putObject("vocab");
        ArrayNode merges = model.putArray("merges");
        StringBuilder token = new StringBuilder("a");
        vocabulary.put("<pad>", 0).put("<eos>", 1).put("<bos>", 2).put("<unk>", 3).put("a", 4);
        for (int i = 5; i < 700; i++) {
            merges.addArray().add(token.toString()).add("a");
            vocabulary.put(token.append('a').toString(), i);
        }
        json.putArray("added_tokens");
        Tokenizer tokenizer = open(json);
        String text = "a".repeat(400_000);
        assertTimeoutPreemptively(Duration.ofSeconds(30), () -> {
            int[] ids = tokenizer.encode(text);
            assertEquals(text, tokenizer.decode(ids, false));
            Tokenizer unigram = Tokenizer.open(SIGLIP);
            assertEquals(2, unigram.encode("\u732b".repeat(400_000)).length);
            assertTrue(Tokenizer.open(OPT).encode(" ".repeat(400_000)).length > 0);
        });
    }

    @Test
    void spieceModelsAreRefusedByWhatIsWrong() throws IOException {
        byte[] good = Files.readAllBytes(TokenizerTest.GOLDENS.resolve("tokenizers/siglip/spiece.model"));
        Path file = folder.resolve("spiece.model");
        for (byte[] bad : new byte[][] {
            {}, {1}, {10}, {10, 5, 10}, {10, 2, 10, 0}, {18, 2, 24, 2}, {(byte) 0xff, (byte) 0xff, (byte) 0xff},
            Arrays.copyOf(good, 5000)
        }) {
            Files.write(file, bad);
            CheckpointException e = assertThrows(CheckpointException.class, () -> Tokenizer.open(file));
            assertTrue(e.getMessage().startsWith(file + ": not a usable SentencePiece model: "), e.getMessage());
        }
        Files.write(file, new byte[] {18, 2, 24, 2});
        CheckpointException e = assertThrows(CheckpointException.class, () -> Tokenizer.open(file));
        assertTrue(e.getMessage().contains("model_type is 2"), e.getMessage());
    }
}
