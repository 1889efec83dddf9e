package stormsight.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import stormsight.Goldens;

/**
 * What people name as a model and is none that can be run: one line says what it is and what to do next, exit code 3.
 */
class ForeignModelsTest {
    private static final String GOLDEN = "paligemma-mqa";
    private static final String POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 566272\n";

    @TempDir
    private Path folder;

    @BeforeEach
    void copy() throws IOException {
        Goldens.copy(GOLDEN, folder);
    }

    private static void refused(String model, String... said) {
        for (String[] command : new String[][] {
            {"inspect", model},
            {
                "generate",
                "-m",
                model,
                "-i",
                Goldens.folder(GOLDEN).resolve("input.png").toString(),
                "-p",
                "caption en"
            }
        }) {
            MainTest.Run run = MainTest.run(command);
            assertEquals(3, run.exitCode(), run.err());
            assertEquals(1, run.err().lines().count(), run.err());
            for (String part : said) {
                assertTrue(run.err().contains(part), run.err());
            }
        }
    }

    private void folderRefused(String... said) {
        refused(folder.toString(), said);
    }

    private void delete(String... names) throws IOException {
        for (String name : names) {
            Files.delete(folder.resolve(name));
        }
    }

    private void write(String name, String content) throws IOException {
        Files.writeString(folder.resolve(name), content);
    }

    @Test
    void pointersOfGitLfs() throws IOException {
        write("tokenizer.json", POINTER);
        folderRefused(
                "tokenizer.json: is a pointer of Git LFS, not the file itself; run `git lfs install` and `git lfs "
                        + "pull`");
        write("model.safetensors", POINTER);
        folderRefused("model.safetensors: is a pointer of Git LFS, not the file itself (as are 1 more)");
        refused(
                folder.resolve("model.safetensors").toString(),
                "a pointer of Git LFS in place of the weights",
                "`git lfs pull`");
    }

    @Test
    void adapters() throws IOException {
        delete("config.json", "model.safetensors");
        write(
                "adapter_config.json",
                "{\"peft_type\": \"LORA\", \"base_model_name_or_path\": \"google/paligemma-3b-pt-224\"}");
        write("adapter_model.safetensors", "");
        folderRefused("is an adapter (PEFT, such as LoRA) for google/paligemma-3b-pt-224", "name it with --adapter");
        write("adapter_config.json", "not JSON");
        folderRefused("is an adapter (PEFT, such as LoRA) without the model that it adapts");
    }

    /** With the model that it was made for, an adapter answers; what is printed names it. */
    @Test
    void adaptersWithTheirModel() {
        String base = Goldens.folder("paligemma-lora").toString();
        String adapter = Goldens.folder("paligemma-lora/adapter").toString();
        String image = Goldens.folder("paligemma-lora").resolve("input.png").toString();
        MainTest.Run run = MainTest.run("generate", "--backend", "cpu", "-m", base, "--adapter", adapter, "-i", image,
                "-p", "answer en where is the cat sitting?", "-n", "12");
        assertEquals(0, run.exitCode(), run.err());
        assertEquals("x t thXGGGGGGG", run.out().strip());
        assertTrue(run.err().contains(base + " + " + adapter), run.err());
        MainTest.Run inspected = MainTest.run("inspect", base, "--adapter", adapter);
        assertEquals(0, inspected.exitCode(), inspected.err());
        assertTrue(inspected.out().contains("of rank 4: 13,888 parameters for 37 matrices"), inspected.out());
        MainTest.fails(2, "--golden brings its own model, adapters and image", "verify", "--golden", base, "--adapter",
                adapter);
        MainTest.fails(3, "no such directory", "generate", "-m", base, "--adapter", adapter + "-absent", "-i", image,
                "-p", "caption en");
    }

    @Test
    void quantizedWeights() throws IOException {
        String config = Files.readString(folder.resolve("config.json"));
        write("config.json", config.replaceFirst("\\{", "{\"quantization\": {\"group_size\": 64, \"bits\": 4},"));
        folderRefused("config.json: the weights are quantized with MLX (4 bits), which is not read here");
        for (String[] method : new String[][] {
            {"\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true", "bitsandbytes (4 bits)"},
            {"\"quant_method\": \"bitsandbytes\", \"load_in_8bit\": true", "bitsandbytes (8 bits)"},
            {"\"quant_method\": \"gptq\", \"bits\": 3", "gptq (3 bits)"},
            {"\"quant_method\": \"awq\", \"bits\": 4", "awq (4 bits)"},
            {"\"quant_method\": \"fp8\", \"activation_scheme\": \"dynamic\"", "fp8"},
            {"\"quant_method\": \"compressed-tensors\", \"format\": \"float-quantized\"", "compressed-tensors"},
            {"\"bits\": [4]", "an unknown method"}
        }) {
            for (String place : List.of("{", "\"text_config\": {")) {
                write(
                        "config.json",
                        config.replaceFirst(
                                place.replace("{", "\\{"),
                                place.replace("{", "\\{") + "\"quantization_config\": {" + method[0] + "},"));
                folderRefused(
                        "config.json: the weights are quantized with " + method[1] + ", which is not read here",
                        "--weights q8");
            }
        }
    }

    @Test
    void formatsOfOthers() throws IOException {
        delete("model.safetensors", "expected.safetensors");
        folderRefused("neither model.safetensors nor model.safetensors.index.json is there; download the weights");
        write("model-Q4_K_M.gguf", "GGUF");
        folderRefused("model-Q4_K_M.gguf: ends within its header: the file is truncated");
        refused(folder.resolve("model-Q4_K_M.gguf").toString(), "ends within its header: the file is truncated");
        delete("model-Q4_K_M.gguf");
        for (String name : List.of("pytorch_model.bin", "pytorch_model-00001-of-00003.bin", "consolidated.00.pth")) {
            write(name, "PK");
            folderRefused("holds " + name + ": weights of PyTorch", "save_pretrained");
            refused(folder.resolve(name).toString(), "weights of PyTorch");
            delete(name);
        }
        write("paligemma-3b-pt-224.npz", "PK");
        folderRefused("holds paligemma-3b-pt-224.npz and no model.safetensors");
        delete("paligemma-3b-pt-224.npz");
        write("model.safetensors.incomplete", "");
        folderRefused("the download of model.safetensors.incomplete did not end");
    }

    /** What a download or a copy left under the right name. */
    @Test
    void strangersUnderTheNamesOfAModel() throws IOException {
        byte[] weights = Files.readAllBytes(folder.resolve("model.safetensors"));
        String[][] strangers = {
            {"<!DOCTYPE html><html><title>401</title></html>", "a web page (HTML or XML), as servers send"},
            {"{\"error\": \"Repository not found\"}", "text, as servers send in place of a file"},
            {"Invalid username or password.", "text, as servers send in place of a file"},
            {"GGUF\3\0\0\0" + "\0".repeat(100), "weights in llama.cpp's format GGUF"},
            {"PK\3\4\0\0\b\b" + "\0".repeat(100), "a ZIP archive or weights of PyTorch under another name"}
        };
        for (String[] each : strangers) {
            write("model.safetensors", each[0]);
            folderRefused("model.safetensors: is " + each[1]);
        }
        Files.delete(folder.resolve("model.safetensors"));
        Files.createSymbolicLink(folder.resolve("model.safetensors"), Path.of("../blobs/0123"));
        folderRefused("model.safetensors: is a link to a file that is not there", "cp -rL");
        Files.delete(folder.resolve("model.safetensors"));
        Files.write(folder.resolve("model.safetensors"), weights);
        for (String name : List.of("config.json", "tokenizer.json")) {
            String good = Files.readString(folder.resolve(name));
            write(name, "  <html><body>404</body></html>");
            folderRefused(name + ": is a web page (HTML or XML)");
            write(name, good);
        }
        refused("", "'': is an empty name; name the folder of a model");
        assertEquals(0, MainTest.run("inspect", folder.toString()).exitCode());
    }

    @Test
    void weightsOfAnotherName() throws IOException {
        delete("expected.safetensors");
        Files.move(folder.resolve("model.safetensors"), folder.resolve("model.fp16.safetensors"));
        folderRefused("holds model.fp16.safetensors, weights of a variant; rename it to model.safetensors");
        Files.move(folder.resolve("model.fp16.safetensors"), folder.resolve("model-00001-of-00002.safetensors"));
        folderRefused("holds model-00001-of-00002.safetensors and no model.safetensors.index.json");
        Files.move(folder.resolve("model-00001-of-00002.safetensors"), folder.resolve("checkpoint.safetensors"));
        folderRefused("holds checkpoint.safetensors, but neither model.safetensors nor");
        refused(
                folder.resolve("checkpoint.safetensors").toString(),
                "is a file: one of a model's; name the folder of the model, " + folder);
    }

    @Test
    void tokenizersOfAnotherFormat() throws IOException {
        delete("tokenizer.json");
        folderRefused("tokenizer.json: no such file; download");
        write("tokenizer.model", "");
        folderRefused("tokenizer.json: no such file, only tokenizer.model, which is not read here", "save_pretrained");
    }

    @Test
    void foldersAroundAModel() throws IOException {
        Path outer = Files.createDirectories(folder.resolve("around"));
        Files.createFile(outer.resolve(".DS_Store"));
        refused(outer.toString(), "no config.json in this directory; a model is a folder with");
        Goldens.copy(GOLDEN, Files.createDirectories(outer.resolve("checkpoint-100")));
        refused(outer.toString(), "no config.json in this directory, but in checkpoint-100: name that folder");
    }

    @Test
    void theCacheOfHuggingFaceLeadsToItsSnapshot() throws IOException {
        Path hub = folder.resolve("hub");
        Path model = hub.resolve("models--google--paligemma");
        Path snapshot = Files.createDirectories(model.resolve("snapshots").resolve("35e4f4"));
        Path blobs = Files.createDirectories(model.resolve("blobs"));
        Goldens.copy(GOLDEN, blobs);
        for (String name : List.of("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json")) {
            Files.createSymbolicLink(snapshot.resolve(name), Path.of("../../blobs/" + name));
        }
        assertEquals(0, MainTest.run("inspect", model.toString()).exitCode());
        assertEquals(0, MainTest.run("inspect", hub.toString()).exitCode());
        assertEquals(0, MainTest.run("inspect", model.toUri().toString()).exitCode());
        Files.createDirectories(model.resolve("snapshots").resolve("00aa"));
        refused(model.toString(), "is a model in the cache of Hugging Face with 2 snapshots: name one of them");
        Files.createDirectories(model.resolve("refs"));
        Files.writeString(model.resolve("refs").resolve("main"), "35e4f4");
        assertEquals(0, MainTest.run("inspect", model.toString()).exitCode());
        Files.createDirectories(hub.resolve("models--other--one").resolve("snapshots"));
        refused(hub.toString(), "is the cache of Hugging Face: name a model in it, such as " + model);
        refused(hub.resolve("models--other--one").toString(), "with 0 snapshots: its download did not end");
    }

    @Test
    void namesInPlaceOfFolders() {
        String download = "run `hf download google/paligemma-3b-mix-224 --local-dir paligemma-3b-mix-224`";
        refused("google/paligemma-3b-mix-224", "no such directory; if that is a repository of Hugging Face", download);
        for (String url : List.of(
                "https://huggingface.co/google/paligemma-3b-mix-224",
                "https://huggingface.co/google/paligemma-3b-mix-224/tree/main",
                "hf://google/paligemma-3b-mix-224",
                "https://hf.co/google/paligemma-3b-mix-224/")) {
            refused(url, "is a URL", download);
        }
        refused(
                "https://example.org/model.tar.gz",
                "is a URL, and nothing is downloaded here: download the model's files into a folder");
        refused("./google/paligemma", "no such directory");
        refused("/no/where", "/no/where: no such directory");
        assertFalse(MainTest.run("inspect", "/no/where").err().contains("Hugging Face"));
    }

    /** A file may hold anything; a message stays a line that can be read. */
    @Test
    void longValuesAreCut() throws IOException {
        String config = Files.readString(folder.resolve("config.json"));
        for (String value :
                List.of("x".repeat(100_000), "a long story ".repeat(10_000), "line\\nline".repeat(10_000))) {
            write("config.json", config.replaceFirst("\"paligemma\"", "\"" + value.replace("\\", "\\\\") + "\""));
            MainTest.Run run = MainTest.run("inspect", folder.toString());
            assertEquals(3, run.exitCode());
            assertTrue(run.err().length() < 1500, run.err());
            assertEquals(1, run.err().lines().count(), run.err());
            assertTrue(run.err().contains("model_type") && run.err().contains("is not supported"), run.err());
        }
        refused("m".repeat(10_000), "...: no such directory");
    }
}
